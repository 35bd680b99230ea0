/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/pin_age.h - for how long clients have been holding their pins.
 */
#ifndef FS_PIN_AGE_H
#define FS_PIN_AGE_H

#include <stdint.h>

struct fs;
struct pin_ages;

/* Look at all pins, once a second and whenever somebody asks; the caller holds the open pool. */
void pin_ages_look(struct fs *fs);

/*
 * The pins of a client at the last look, and how long the oldest of them has been seen: it may be
 * a second older.
 */
void pin_ages_of(struct fs *fs, uint32_t client, uint64_t *pinsp, uint64_t *oldest_usecp);

void pin_ages_free(struct pin_ages *a);

#endif
