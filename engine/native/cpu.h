/* What this CPU, and the operating system that saves its registers, can do. */
#ifndef CLIPSHELF_CPU_H
#define CLIPSHELF_CPU_H

#include <stdbool.h>

bool cpu_has_amx(void);        /* AMX-INT8 and AVX512-VNNI; asks Linux for the permission to use the tiles */
bool cpu_has_avx512vnni(void); /* AVX-512 F, BW, DQ, VL and VNNI */
bool cpu_has_avxvnni(void);    /* AVX-VNNI, and AVX2 as below */
bool cpu_has_avx2(void);       /* AVX2, FMA and F16C */
bool cpu_has_dotprod(void);    /* the dot products of ARMv8.2 */

#endif
