/* The layout of the structs on 64-bit systems, as README.md's policy freezes it: fields may be added at an end only.
 * Compiled as C, so that the header stays C. */
#include <clipshelf.h>

#include <stddef.h>

#define AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), #type "." #field)

AT(clipshelf_engine_options, size, 0);
AT(clipshelf_engine_options, venv, 8);
AT(clipshelf_engine_options, artifact, 16);
AT(clipshelf_engine_options, provider, 24);
AT(clipshelf_engine_options, decode, 32);
AT(clipshelf_engine_options, threads, 40);
AT(clipshelf_engine_options, warm, 48);
AT(clipshelf_engine_options, limits, 56);
AT(clipshelf_image, size, 0);
AT(clipshelf_image, data, 8);
AT(clipshelf_image, bytes, 16);
AT(clipshelf_image, format, 24);
AT(clipshelf_image, width, 32);
AT(clipshelf_image, height, 40);
AT(clipshelf_image, stride, 48);
AT(clipshelf_query, size, 0);
AT(clipshelf_query, text, 8);
AT(clipshelf_query, image, 16);
AT(clipshelf_query, liked, 24);
AT(clipshelf_query, liked_count, 32);
AT(clipshelf_query, disliked, 40);
AT(clipshelf_query, disliked_count, 48);
AT(clipshelf_query, where, 56);
AT(clipshelf_query, k, 64);
AT(clipshelf_query, json, 72);
AT(clipshelf_item, size, 0);
AT(clipshelf_item, id, 8);
AT(clipshelf_item, score, 16);
AT(clipshelf_item, relevance, 24);
AT(clipshelf_item, product, 32);
AT(clipshelf_failure, size, 0);
AT(clipshelf_failure, index, 8);
AT(clipshelf_failure, status, 16);
AT(clipshelf_failure, message, 24);

AT(clipshelf_call_options, size, 0);
AT(clipshelf_call_options, milliseconds, 8);
AT(clipshelf_call_options, token, 16);
AT(clipshelf_change_options, size, 0);
AT(clipshelf_change_options, allow_shrink, 8);
AT(clipshelf_change_options, wait, 16);
AT(clipshelf_change_options, keep_text, 24);

int main(void) {
    clipshelf_call_options call = CLIPSHELF_CALL_OPTIONS_INIT;
    clipshelf_change_options change = CLIPSHELF_CHANGE_OPTIONS_INIT;
    clipshelf_image image = CLIPSHELF_IMAGE_INIT;
    clipshelf_query query = CLIPSHELF_QUERY_INIT;
    clipshelf_engine_options options = CLIPSHELF_ENGINE_OPTIONS_INIT;
    return image.size != sizeof image || query.size != sizeof query || options.size != sizeof options ||
           call.size != sizeof call || change.size != sizeof change;
}
