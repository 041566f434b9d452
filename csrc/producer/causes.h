/* causes: why records of a producer were not stored, by error code: how often, and the newest error
 * of each code. The engine thread writes, any thread reads, under a lock of its own; no other
 * module is called under it. The last of the KIN_CAUSES holds all codes beyond the others. */
#ifndef KIN_PRODUCER_CAUSES_H
#define KIN_PRODUCER_CAUSES_H

#include <pthread.h>
#include <stdint.h>

#include "base/error.h"

enum { KIN_CAUSES = 24 };

#define KIN_CAUSE_OTHER "Other"

typedef struct kin_cause {
  kin_error error;     /* the newest of this code */
  uint64_t count;      /* failed attempts at entries */
  uint64_t unreported; /* those of them that the user has to be notified of */
} kin_cause;

typedef struct kin_causes {
  pthread_mutex_t lock;
  kin_cause *list[KIN_CAUSES]; /* owned; allocated when its code first occurs */
  size_t size;                 /* of the list */
  const kin_cause *newest;
  bool current; /* records still wait because of the newest */
} kin_causes;

void kin_causes_init(kin_causes *causes);
void kin_causes_destroy(kin_causes *causes);

/* Adds `count` failed attempts. `report`: the user has to be notified of them. An error of class
 * KIN_OK is a notice: nothing has failed. True: there was nothing to report about this code before.
 * When memory is out, a new code is ignored. */
bool kin_causes_note(kin_causes *causes, const kin_error *error, uint64_t count, bool report);

/* The service has answered a request, and no record is open of which an attempt has failed. */
void kin_causes_end(kin_causes *causes);

/* Takes the next cause to report; `fatal`: include errors after which records are not sent again.
 * Returns the number of its attempts; 0: there is none. */
uint64_t kin_causes_next(kin_causes *causes, bool fatal, kin_error *error);

/* The newest error; `current`: kin_causes_end was not called since. False: there was no error. */
bool kin_causes_newest(kin_causes *causes, kin_error *error, bool *current);

typedef struct kin_cause_count {
  char code[sizeof((kin_error *)0)->code];
  uint64_t count;
} kin_cause_count;

/* Copies the counts, without notices. Returns the number of causes. */
size_t kin_causes_count(kin_causes *causes, kin_cause_count counts[KIN_CAUSES]);

#endif
