/* clipshelf: product recommendations from pictures and words, for C and C++ hosts.
 *
 * Every function may be called from any thread, at any time, with any handle. The first open starts the engine's
 * runtime, which then stays for the life of the process. host/README.md is the guide.
 *
 * Status      Every function that can fail returns a clipshelf_status; clipshelf_last_error() then says what was
 *             expected and what was found. After a failure nothing is open, out parameters that are handles or pointers
 *             are NULL, and counts are 0; a buffer of the caller may have been partly written.
 * Handles     are opaque and owned by the caller, who closes each once. A handle that was closed, or never opened, always
 *             gives CLIPSHELF_CLOSED_HANDLE. A handle may be closed while another thread is in a call with it: the call
 *             completes, and what it uses is freed after it.
 * Inputs      are read during the call only and never kept: free or reuse them as soon as the call returns.
 * Strings     are UTF-8 and end with a NUL, in both directions, unless a length comes with them.
 * Limits      CLIPSHELF_MAX_COUNT items a call, CLIPSHELF_MAX_TEXT characters a text, CLIPSHELF_MAX_BYTES bytes an
 *             encoded picture, CLIPSHELF_MAX_PIXELS pixels a raw picture, CLIPSHELF_MAX_DEPTH levels of JSON.
 * Structs     that may grow begin with their own size, so that a host and a library of different versions get along.
 *             Start from the _INIT macro, or set `size` and zero the rest. Fields that an older host does not have take
 *             their defaults; fields that this library does not have must be zero. Zero and NULL mean the default.
 *             In a struct that the library fills, `size` says which fields are there.
 */
#ifndef CLIPSHELF_H
#define CLIPSHELF_H

#include <stddef.h>

#define CLIPSHELF_VERSION "0.1.0"
#define CLIPSHELF_MAX_COUNT 1048576
#define CLIPSHELF_MAX_TEXT 1000000
#define CLIPSHELF_MAX_BYTES 1073741824
#define CLIPSHELF_MAX_PIXELS 178956970
#define CLIPSHELF_MAX_DEPTH 100
#define CLIPSHELF_MIN_STACK 262144 /* bytes of stack that a thread must have left when it calls; checked on Linux */

#if defined(_WIN32) && defined(CLIPSHELF_BUILDING)
#define CLIPSHELF_API __declspec(dllexport)
#elif defined(_WIN32)
#define CLIPSHELF_API __declspec(dllimport)
#elif defined(__GNUC__)
#define CLIPSHELF_API __attribute__((visibility("default")))
#else
#define CLIPSHELF_API
#endif

/* With a fixed underlying type any int is a valid value of the enums, so that sanitizers accept it. */
#ifdef __cplusplus
#define CLIPSHELF_INT : int
extern "C" {
#else
#define CLIPSHELF_INT
#endif

typedef enum clipshelf_status CLIPSHELF_INT {
    CLIPSHELF_OK = 0,
    CLIPSHELF_INVALID_ARGUMENT = 1, /* a null pointer, size, encoding, option, filter or query that cannot be used */
    CLIPSHELF_CLOSED_HANDLE = 2,    /* a handle that is not open */
    CLIPSHELF_BAD_IMAGE = 3,        /* a picture that cannot be read */
    CLIPSHELF_UNKNOWN_ID = 4,       /* a product id that the catalogue does not have */
    CLIPSHELF_BAD_ARTIFACT = 5,     /* a model folder that is missing or does not hold what it says */
    CLIPSHELF_BAD_CATALOGUE = 6,    /* a catalogue folder that is missing or does not hold what it says */
    CLIPSHELF_MODEL_MISMATCH = 7,   /* a catalogue and an engine of two different models */
    CLIPSHELF_NO_PROVIDER = 8,      /* an execution provider that this machine cannot run */
    CLIPSHELF_NO_RUNTIME = 9,       /* the runtime was not found, or could not be started */
    CLIPSHELF_OUT_OF_MEMORY = 10,
    CLIPSHELF_SYSTEM = 11,          /* the operating system refused a file */
    CLIPSHELF_INTERNAL = 12,        /* anything else: a fault of clipshelf's, please report it */
    CLIPSHELF_CANCELLED = 13,       /* a call that its token cancelled */
    CLIPSHELF_TIMED_OUT = 14        /* a call that took longer than its thread allows */
} clipshelf_status;

/* The layout of the bytes of a picture. */
typedef enum clipshelf_format CLIPSHELF_INT {
    CLIPSHELF_ENCODED = 0, /* a whole file: JPEG, PNG, WebP, GIF, BMP, TIFF and so on */
    CLIPSHELF_RGB = 1,     /* raw pixels, 3 bytes each */
    CLIPSHELF_BGR = 2,
    CLIPSHELF_RGBA = 3,    /* 4 bytes each, alpha not premultiplied; laid over white */
    CLIPSHELF_BGRA = 4,
    CLIPSHELF_GRAY = 5     /* 1 byte each */
} clipshelf_format;

typedef struct clipshelf_engine clipshelf_engine;
typedef struct clipshelf_catalogue clipshelf_catalogue;
typedef struct clipshelf_result clipshelf_result;
typedef struct clipshelf_failures clipshelf_failures;
typedef struct clipshelf_token clipshelf_token;

typedef struct clipshelf_engine_options {
    size_t size;          /* sizeof(clipshelf_engine_options) */
    const char *venv;     /* folder of the Python environment that has clipshelf; $ORIGIN at its start is the folder of
                             this library. NULL: the environment variable CLIPSHELF_VENV, which a program with raised
                             rights ignores, else the one that the library was built with. A process has one
                             environment: after the first open, another one is refused */
    const char *artifact; /* folder of the model; NULL: the embedded default */
    const char *provider; /* "cpu", "cuda" or "auto"; NULL: "cpu" */
    const char *decode;   /* "fast" or "exact"; NULL: "fast" */
    size_t threads;       /* of one inference, up to 256; 0: all CPUs that the process may use */
    size_t warm;          /* not 0: load both towers now rather than on first use */
    const char *limits;   /* what a picture may cost, such as {"pixels": 20000000, "seconds": 2}: a JSON object with the
                             names of docs/pictures.md; NULL: safe defaults */
} clipshelf_engine_options;

#define CLIPSHELF_ENGINE_OPTIONS_INIT {sizeof(clipshelf_engine_options), NULL, NULL, NULL, NULL, 0, 0, NULL}

/* A picture. Encoded: `data`, `bytes` and `format` only, the others 0. Raw: row y starts at data + y * stride, the top
 * row first; `bytes` may be read, at least (height - 1) * stride + width * bytes a pixel. */
typedef struct clipshelf_image {
    size_t size; /* sizeof(clipshelf_image), the same for all pictures of an array */
    const void *data;
    size_t bytes;
    clipshelf_format format;
    size_t width;
    size_t height;
    size_t stride; /* bytes from a row to the next; 0: rows without a gap */
} clipshelf_image;

#define CLIPSHELF_IMAGE_INIT {sizeof(clipshelf_image), NULL, 0, CLIPSHELF_ENCODED, 0, 0, 0}

/* What is asked for: at least a text, a picture, a liked or a disliked product; they add up. */
typedef struct clipshelf_query {
    size_t size;                 /* sizeof(clipshelf_query), the same for all queries of an array */
    const char *text;            /* a review or a wish, in words */
    const clipshelf_image *image;
    const char *const *liked;    /* ids of products to find more like; never answered themselves */
    size_t liked_count;
    const char *const *disliked; /* ids of products to find less like; never answered themselves */
    size_t disliked_count;
    const char *where;           /* a filter, such as "price<100 and category=shoes" */
    size_t k;                    /* how many products at the most; 0: 10 */
    const char *json;            /* all other arguments, such as {"weights": {"image": 0.5}, "diversity": 0.3}: a JSON object
                                    as docs/json.md describes, with names that are not set above. It may be the whole
                                    query. Its pictures are data: URIs; it names no files.
                                    "explain": true adds contributions to clipshelf_result_json() */
} clipshelf_query;

#define CLIPSHELF_QUERY_INIT {sizeof(clipshelf_query), NULL, NULL, NULL, 0, NULL, 0, NULL, 0, NULL}

/* A recommended product, or one that was looked up. The library fills it. */
typedef struct clipshelf_item {
    size_t size;         /* bytes that this library fills */
    const char *id;
    double score;        /* higher is better, 0 is an average product; compares within one result only */
    double relevance;    /* 0 to 1: how sure it is that the product fits at all; compares between results too */
    const char *product; /* its record as it was indexed, a JSON object */
} clipshelf_item;

/* What was wrong with one item of a call that goes on without it. The library fills it. */
typedef struct clipshelf_failure {
    size_t size;             /* bytes that this library fills */
    size_t index;            /* position of the item in the call */
    clipshelf_status status;
    const char *message;
} clipshelf_failure;

/* What the calls of a thread obey. */
typedef struct clipshelf_call_options {
    size_t size;                  /* sizeof(clipshelf_call_options) */
    size_t milliseconds;          /* how long a call may take; 0: as long as it takes */
    const clipshelf_token *token; /* cancels the calls that obey it, any number at once; NULL: none does */
} clipshelf_call_options;

#define CLIPSHELF_CALL_OPTIONS_INIT {sizeof(clipshelf_call_options), 0, NULL}

/* How a catalogue is changed. */
typedef struct clipshelf_change_options {
    size_t size;         /* sizeof(clipshelf_change_options) */
    double allow_shrink; /* the largest share of its products, pictures or texts that may be gone afterwards, above 0 to 1;
                            products that are named to be removed do not count. 0: 0.1 */
    double wait;         /* seconds to wait for another writer of the folder; 0: it is an error */
    size_t keep_text;    /* not 0: a product with a text stays without its picture where that cannot be read, and is a
                            failure of the call */
} clipshelf_change_options;

#define CLIPSHELF_CHANGE_OPTIONS_INIT {sizeof(clipshelf_change_options), 0.0, 0.0, 0}

typedef enum clipshelf_level CLIPSHELF_INT {
    CLIPSHELF_NOTE = 0,   /* what fails nothing: a column whose cell counts as missing, a guessed encoding */
    CLIPSHELF_WARNING = 1 /* what went wrong beside a call, such as in a thread of the runtime */
} clipshelf_level;

/* Takes a message, valid during the call only, and what was given with the function. It may be called by any thread, by
 * several at once, and must not call clipshelf. */
typedef void (*clipshelf_log)(clipshelf_level level, const char *message, void *context);

/* Version of the library, such as "0.1.0"; that of this header is CLIPSHELF_VERSION. Static; never fails. */
CLIPSHELF_API const char *clipshelf_version(void);

/* Name of a status, such as "CLIPSHELF_OK", or "unknown status". Static; never fails. */
CLIPSHELF_API const char *clipshelf_status_name(clipshelf_status status);

/* What was wrong the last time a call of this thread failed, "" if none did. Never NULL. Owned by the thread, valid
 * until its next failure; copy it to keep it. Success does not change it. Cut off after 1023 bytes. */
CLIPSHELF_API const char *clipshelf_last_error(void);

/* What the later calls of this thread obey, until this function is called again; NULL: nothing. A call whose time is up,
 * or whose token is cancelled, fails with CLIPSHELF_TIMED_OUT or CLIPSHELF_CANCELLED. It looks before each run of the model
 * (a batch of pictures or texts) and while it waits for another writer, so that it ends within one run; a change of a catalogue then has changed nothing.
 * Closing handles and reading results takes no time and obeys nothing. */
CLIPSHELF_API clipshelf_status clipshelf_thread_options(const clipshelf_call_options *options);

/* A token cancels calls: once cancelled, from any thread, the calls that obey it end, and later ones do not begin. Close
 * it once; calls that obey it go on. */
CLIPSHELF_API clipshelf_status clipshelf_token_open(clipshelf_token **token);
CLIPSHELF_API clipshelf_status clipshelf_token_cancel(clipshelf_token *token);
CLIPSHELF_API clipshelf_status clipshelf_token_close(clipshelf_token *token);

/* Give messages of the library to a function from now on; NULL: to none, as at the start. On return the function of before
 * is not in use any more. Failures of calls are not logged: their status says them. */
CLIPSHELF_API clipshelf_status clipshelf_set_log(clipshelf_log log, void *context);

/* Open an engine. `options` may be NULL for all defaults. The first call of a process starts the runtime, which takes about
 * a second. Threads may share an engine; each engine has the model in memory once more. On success *engine is a handle to
 * close. */
CLIPSHELF_API clipshelf_status clipshelf_engine_open(const clipshelf_engine_options *options, clipshelf_engine **engine);

/* Close an engine; NULL does nothing. Catalogues opened with it keep what they need of it and stay usable. */
CLIPSHELF_API clipshelf_status clipshelf_engine_close(clipshelf_engine *engine);

/* Width of an embedding, in floats. */
CLIPSHELF_API clipshelf_status clipshelf_engine_dim(const clipshelf_engine *engine, size_t *dim);

/* Embed `count` texts to `count` rows of dim floats of unit norm, in order, written to `out`. `capacity` is how many
 * floats `out` has room for, at least count * dim. `lengths` has the bytes of each text, or is NULL when they end with
 * a NUL. An empty text is embedded as any other. */
CLIPSHELF_API clipshelf_status clipshelf_embed_texts(const clipshelf_engine *engine, const char *const *texts,
                                                     const size_t *lengths, size_t count, float *out, size_t capacity);

/* Embed `count` pictures, encoded or raw, to `count` rows, as clipshelf_embed_texts() does. Raw pixels are copied once.
 * The first picture that cannot be read fails the call; the message has its position. */
CLIPSHELF_API clipshelf_status clipshelf_embed_images(const clipshelf_engine *engine, const clipshelf_image *images,
                                                      size_t count, float *out, size_t capacity);

/* The same, but a picture that cannot be read fails alone: its row is all zeros. *failures says which and why, NULL if
 * none failed; close it. */
CLIPSHELF_API clipshelf_status clipshelf_embed_images_each(const clipshelf_engine *engine,
                                                           const clipshelf_image *images, size_t count, float *out,
                                                           size_t capacity, clipshelf_failures **failures);

/* Number of failures, 0 for NULL; and one of them, in the order of their positions, *failure owned by the handle and
 * valid until it is closed. */
CLIPSHELF_API clipshelf_status clipshelf_failures_count(const clipshelf_failures *failures, size_t *count);
CLIPSHELF_API clipshelf_status clipshelf_failures_item(const clipshelf_failures *failures, size_t index,
                                                       const clipshelf_failure **failure);
CLIPSHELF_API clipshelf_status clipshelf_failures_close(clipshelf_failures *failures);

/* Open the catalogue that `clipshelf index` wrote to `folder`, for an engine of the model that embedded it. Its matrix
 * stays on disk, memory-mapped. On success *catalogue is a handle to close. */
CLIPSHELF_API clipshelf_status clipshelf_catalogue_open(const clipshelf_engine *engine, const char *folder,
                                                        clipshelf_catalogue **catalogue);

/* Close a catalogue; NULL does nothing. Results stay. */
CLIPSHELF_API clipshelf_status clipshelf_catalogue_close(clipshelf_catalogue *catalogue);

/* Number of products. */
CLIPSHELF_API clipshelf_status clipshelf_catalogue_size(const clipshelf_catalogue *catalogue, size_t *size);

/* Products that fit, best first. On success *result is a handle to close; it depends on nothing else. */
CLIPSHELF_API clipshelf_status clipshelf_recommend(const clipshelf_catalogue *catalogue, const clipshelf_query *query,
                                                   clipshelf_result **result);

/* Answer `count` queries, faster than one by one. results[i] is the answer to queries[i], a handle to close. A query
 * that cannot be answered fails alone: its result is NULL, and *failures says why; close it. With `failures` NULL, the
 * first such query fails the call. */
CLIPSHELF_API clipshelf_status clipshelf_recommend_batch(const clipshelf_catalogue *catalogue,
                                                         const clipshelf_query *queries, size_t count,
                                                         clipshelf_result **results, clipshelf_failures **failures);

/* The products with these ids, in order, as a result to close; score and relevance are 0. */
CLIPSHELF_API clipshelf_status clipshelf_catalogue_products(const clipshelf_catalogue *catalogue,
                                                            const char *const *ids, size_t count,
                                                            clipshelf_result **result);

/* Open the catalogue's folder again: the handle then answers from its newest generation, which another process may have
 * written. Calls in flight end on the old one. On failure the handle stays as it was. */
CLIPSHELF_API clipshelf_status clipshelf_catalogue_reload(clipshelf_catalogue *catalogue);

/* Change the newest generation in the folder, write the next one, and reload. `products` is a JSON array of objects as
 * `clipshelf index` takes them, with paths of pictures relative to the catalogue's root. Adding needs new ids, updating
 * known ones. A product that cannot be used fails alone, as above; with `failures` NULL it fails the call. `options` may be
 * NULL for all defaults. */
CLIPSHELF_API clipshelf_status clipshelf_catalogue_add(clipshelf_catalogue *catalogue, const char *products,
                                                       const clipshelf_change_options *options,
                                                       clipshelf_failures **failures);
CLIPSHELF_API clipshelf_status clipshelf_catalogue_update(clipshelf_catalogue *catalogue, const char *products,
                                                          const clipshelf_change_options *options,
                                                          clipshelf_failures **failures);
CLIPSHELF_API clipshelf_status clipshelf_catalogue_remove(clipshelf_catalogue *catalogue, const char *const *ids,
                                                          size_t count, const clipshelf_change_options *options);

/* Close a result, and with it all that was got from it; NULL does nothing. */
CLIPSHELF_API clipshelf_status clipshelf_result_close(clipshelf_result *result);

/* The products of a result: *items points to *count pointers to them, best first. Owned by the result, valid until it
 * is closed, and never changed: any number of threads may read them. */
CLIPSHELF_API clipshelf_status clipshelf_result_items(const clipshelf_result *result,
                                                      const clipshelf_item *const **items, size_t *count);

/* The whole answer as the JSON object that `clipshelf recommend --json` prints, "{}" for products that were looked up.
 * Owned by the result, valid until it is closed. */
CLIPSHELF_API clipshelf_status clipshelf_result_json(const clipshelf_result *result, const char **json);

/* Close every handle that is open in the process, as if each were closed, and free what they held. The runtime stays,
 * idle: opening again works at once. For hosts that unload their parts. Ending a process needs no call: exit() waits for
 * the calls in flight, ten seconds at the most, and later ones answer CLIPSHELF_NO_RUNTIME. */
CLIPSHELF_API clipshelf_status clipshelf_shutdown(void);

#ifdef __cplusplus
}
#endif

#endif
