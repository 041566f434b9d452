-- Memory that runs out: each allocation of the rooms fails in turn, once. Whoever waits is told, nothing is told
-- twice or lost silently, and (under ASan) nothing leaks.
local reading = require "support.reading"
local stepped = require "stepped"
local stepping = require "support.stepping"

after_each(function()
  stepped.fail_after()
  stepping.close_all()
end)

-- Runs the scenario with its first, second, … allocation failing, until it runs through with none failing.
-- scenario() gives what check(outcome) looks at; what cannot even begin raises, which is an answer, too.
local function torture(scenario, check)
  local told = 0
  for good = 0, 1000 do
    stepped.fail_after(good)
    local began, outcome = pcall(scenario)
    local failed = stepped.fail_after()
    if began then
      check(outcome, failed)
      told = told + 1
    else
      assert.is_true(failed, outcome)
      assert.matches("memory", tostring(outcome))
    end
    stepping.close_all()
    if not failed then
      assert.is_true(good > 3 and told > 1)
      return
    end
  end
  error "it never runs through"
end

describe("memory that runs out", function()
  it("in a call: it is answered once", function()
    torture(function()
      local made = stepping.engine { max_attempts = 3 }
      made:call("PutRecord", '{"StreamName":"s","Data":"aGVsbG8=","PartitionKey":"k"}')
      local broken = true
      stepping.serve(made, 60, function()
        broken = not broken
        return broken and stepping.BROKEN or stepping.FINE
      end)
      return stepping.told(made, "answer")
    end, function(answers, failed)
      assert.equal(1, #answers)
      assert.is_true(failed or not answers[1].failure)
    end)
  end)

  it("in a refused call: its error is told", function()
    torture(function()
      local made = stepping.engine { max_attempts = 3 }
      made:call("PutRecord", "{}")
      stepping.serve(made, 60, function()
        return stepping.error "ResourceNotFoundException"
      end)
      return stepping.told(made, "answer")
    end, function(answers, failed)
      assert.equal(1, #answers)
      assert.is_true(failed or answers[1].failure.code == "ResourceNotFoundException")
    end)
  end)

  it("in put_many: each record of the chunk has its result", function()
    local list = {}
    for i = 1, 40 do
      list[i] = { data = ("data"):rep(i), partition_key = "key-" .. i }
    end
    torture(function()
      local made = stepping.engine { max_attempts = 3 }
      local id, taken = made:put_many("stream", list)
      assert(id, "out of memory, or stopped")
      local calls = 0
      stepping.serve(made, 60, function(request)
        local results, n = {}, 0
        calls = calls + 1
        for _ in request.body:gmatch '"PartitionKey"' do
          n = n + 1
          results[n] = calls == 1 and n % 2 == 0 and '{"ErrorCode":"InternalFailure","ErrorMessage":"again"}'
            or ('{"ShardId":"a","SequenceNumber":"%d"}'):format(n)
        end
        return { body = '{"Records":[' .. table.concat(results, ",") .. "]}" }
      end)
      return { taken = taken, settled = stepping.told(made, "settled") }
    end, function(outcome, failed)
      assert.equal(1, #outcome.settled)
      local results = outcome.settled[1].results
      assert.equal(outcome.taken, #results)
      for _, result in ipairs(results) do
        assert.is_true((result.code == nil) ~= (result.sequence_number == nil))
        assert.is_true(failed or result.code == nil)
      end
      assert.is_true(failed or #results == #list)
    end)
  end)

  it("in a reader: every record comes, once, or the end is told as out of memory", function()
    torture(function()
      local made = stepping.engine { max_attempts = 3 }
      reading.read(made, { "a" }, { follow = true })
      -- an iterator always gives the same page, as often as it is asked
      local pages = {
        a = stepping.page { next = "it:a2", { "1" }, { "2" } },
        a2 = stepping.page { { "3" }, children = { { "b", "a" } } },
        b = stepping.page { next = "it:b2", { "4" } },
        b2 = stepping.page { { "5" }, children = {} },
      }
      local outcome = { order = {}, ends = 0 }
      for _ = 1, 20 do
        stepping.serve(made, 5, reading.service(function(name)
          return pages[name]
        end))
        for _, page in ipairs(stepping.told(made, "page")) do
          for _, record in ipairs(page.records) do
            outcome.order[#outcome.order + 1] = record.sequence_number
          end
        end
        made:give_back()
      end
      outcome.ends = #stepping.told(made, "shard_end")
      for _, trouble in ipairs(stepping.told(made, "trouble")) do
        outcome.fatal = outcome.fatal or (trouble.fatal and trouble.failure.message)
      end
      return outcome
    end, function(outcome, failed)
      local order = table.concat(outcome.order, " ")
      assert.equal(("1 2 3 4 5"):sub(1, #order), order)
      if outcome.fatal then
        assert.is_true(failed)
        assert.matches("memory", outcome.fatal)
      else
        assert.equal("1 2 3 4 5", order)
        assert.equal(2, outcome.ends)
      end
    end)
  end)
end)
