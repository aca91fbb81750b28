/* What the library exports. */
#ifndef CLIPSHELF_NATIVE_H
#define CLIPSHELF_NATIVE_H

#include "onnxruntime_api.h"

#if defined(_WIN32)
#define CLIPSHELF_EXPORT __declspec(dllexport)
#elif defined(__GNUC__) || defined(__clang__)
#define CLIPSHELF_EXPORT __attribute__((visibility("default")))
#else
#define CLIPSHELF_EXPORT
#endif

/* What runtime/native.py expects: it counts up when an exported function or an operator changes its arguments. */
#define CLIPSHELF_INTERFACE 3
CLIPSHELF_EXPORT int clipshelf_interface(void);

/* Add the operators to the options of a session; onnxruntime looks for this name. */
CLIPSHELF_EXPORT OrtStatus *ORT_CALL RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base);

/* Kernels of sessions that the calling thread runs use at most `*limit` threads, which is read before each of them, so
 * that another thread may change it; 0, or NULL in place of `limit`, stands for all threads of the session. */
CLIPSHELF_EXPORT void clipshelf_limit_threads(int64_t *limit);

/* The instruction set that runs: the one named by the environment variable CLIPSHELF_KERNELS, else the best one of this
 * CPU. "" where the variable names one that it does not have. */
CLIPSHELF_EXPORT const char *clipshelf_instruction_set(void);

/* The instruction sets that this library has, the best first: name `index`, NULL after the last. */
CLIPSHELF_EXPORT const char *clipshelf_instruction_set_at(size_t index);

/* Whether this CPU has the named instruction set, and this library too. */
CLIPSHELF_EXPORT int clipshelf_has_instruction_set(const char *name);

#endif
