// The workloads of this bench, done by the Go SDK v2 that Debian has; see ours.lua for the arguments
// and the answer.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

type keys struct{}

func (keys) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
}

type worker struct {
	id, key, offset, sum, records int
	latencies                     []float64
}

var (
	client      *kinesis.Client
	pool        []byte
	count, size int
	shape       string
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (w *worker) entry() ([]byte, *string) {
	w.offset = (w.offset + 37) & 65535
	w.key++
	key := fmt.Sprintf("k%02d%013d", w.id, w.key)
	return pool[w.offset : w.offset+size], &key
}

func (w *worker) put() {
	data, key := w.entry()
	answer, err := client.PutRecord(context.Background(),
		&kinesis.PutRecordInput{StreamName: aws.String("bench"), Data: data, PartitionKey: key})
	must(err)
	w.sum += len(*answer.SequenceNumber)
	w.records++
}

func (w *worker) putMany() {
	records := make([]types.PutRecordsRequestEntry, count)
	for i := range records {
		records[i].Data, records[i].PartitionKey = w.entry()
	}
	answer, err := client.PutRecords(context.Background(),
		&kinesis.PutRecordsInput{StreamName: aws.String("bench"), Records: records})
	must(err)
	for _, result := range answer.Records {
		w.sum += len(*result.SequenceNumber)
	}
	w.records += count
}

func (w *worker) read() {
	page, err := client.GetRecords(context.Background(),
		&kinesis.GetRecordsInput{ShardIterator: aws.String("page:" + shape)})
	must(err)
	for _, record := range page.Records {
		w.sum += len(record.Data) + int(record.Data[0]) + int(record.Data[len(record.Data)-1])
	}
	w.records += len(page.Records)
}

func run(workload string, times, inFlight int) (total worker) {
	once := map[string]func(*worker){
		"put": (*worker).put, "put_many": (*worker).putMany, "read": (*worker).read}[workload]
	var lock sync.Mutex
	var all sync.WaitGroup
	for id := 0; id < inFlight; id++ {
		all.Add(1)
		go func(w worker) {
			defer all.Done()
			for i := w.id; i < times; i += inFlight {
				start := time.Now()
				once(&w)
				w.latencies = append(w.latencies, float64(time.Since(start).Nanoseconds())/1000)
			}
			lock.Lock()
			defer lock.Unlock()
			total.records += w.records
			total.sum += w.sum
			total.latencies = append(total.latencies, w.latencies...)
		}(worker{id: id, offset: id * 97})
	}
	all.Wait()
	return total
}

func cpu() (seconds float64, peak int64) {
	var usage syscall.Rusage
	must(syscall.Getrusage(0, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9, usage.Maxrss
}

func main() {
	number := func(i int) int {
		n, err := strconv.Atoi(os.Args[i])
		must(err)
		return n
	}
	workload, endpoint, calls, warmUp, inFlight := os.Args[1], os.Args[3], number(4), number(5), number(6)
	shape = os.Args[2]
	fmt.Sscanf(shape, "%dx%d", &count, &size)
	pool = make([]byte, 65536+size)
	for i := range pool {
		pool[i] = byte(uint64(i) * 2654435761 >> 13)
	}
	client = kinesis.New(kinesis.Options{
		Region: "us-east-1", Credentials: keys{}, EndpointResolver: kinesis.EndpointResolverFromURL(endpoint),
		HTTPClient: &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: inFlight, MaxConnsPerHost: inFlight,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}})
	run(workload, warmUp, inFlight)
	before, _ := cpu()
	start := time.Now()
	total := run(workload, calls, inFlight)
	wall := time.Since(start).Seconds()
	after, peak := cpu()
	sort.Float64s(total.latencies)
	percentile := func(p float64) float64 { return total.latencies[int(float64(len(total.latencies)-1)*p)] }
	fmt.Printf(`{"records":%d,"cpu":%f,"wall":%f,"p50":%f,"p99":%f,"memory":%f,"sum":%d}`+"\n", total.records,
		after-before, wall, percentile(0.5), percentile(0.99), float64(peak)/1024, total.sum)
}
