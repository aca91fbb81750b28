#include "weights.h"

enum { LARGEST_PAIR = INT16_MAX / UINT8_MAX };

bool panels_have_exact_pairs(const int8_t *panels, size_t count) {
    int most = 0, least = 0;
    for (size_t i = 0; i + 1 < count; i += 2) {
        int positive = (panels[i] > 0 ? panels[i] : 0) + (panels[i + 1] > 0 ? panels[i + 1] : 0);
        int negative = (panels[i] < 0 ? panels[i] : 0) + (panels[i + 1] < 0 ? panels[i + 1] : 0);
        most = positive > most ? positive : most;
        least = negative < least ? negative : least;
    }
    return most <= LARGEST_PAIR && least >= -LARGEST_PAIR;
}
