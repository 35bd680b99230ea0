/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fs/map_png.c - cells as a PNG picture, in base64.
 *
 * Four colours need two bits a cell, so a picture of 65536 pages has 16 KiB.  What would make it
 * smaller is a compressor, which is not needed for that: the data are stored blocks of the zlib
 * format, whose checksums are all there is to compute.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "map.h"
#include "render.h"

#define STORED_MOST 65535u
#define ADLER 65521u

struct bytes {
	uint8_t *data;
	size_t n, room;
	bool failed;
};

static void
add(struct bytes *b, const void *data, size_t n)
{
	size_t room = b->room * 2 > b->n + n ? b->room * 2 : b->n + n + 4096;
	uint8_t *more;

	if (b->failed)
		return;
	if (b->n + n > b->room) {
		if ((more = realloc(b->data, room)) == NULL) {
			b->failed = true;
			return;
		}
		b->data = more;
		b->room = room;
	}
	memcpy(b->data + b->n, data, n);
	b->n += n;
}

static void
put32(uint8_t *to, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(n >> (24 - 8 * i));
}

static uint32_t
crc32_of(const uint8_t *data, size_t n)
{
	uint32_t table[256], crc = ~0u;

	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int k = 0; k < 8; k++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
	}
	for (size_t i = 0; i < n; i++)
		crc = table[(crc ^ data[i]) & 0xff] ^ crc >> 8;
	return ~crc;
}

static uint32_t
adler32_of(const uint8_t *data, size_t n)
{
	uint32_t a = 1, b = 0;

	for (size_t i = 0; i < n; i++) {
		a = (a + data[i]) % ADLER;
		b = (b + a) % ADLER;
	}
	return b << 16 | a;
}

/* Length, kind, data, checksum of kind and data. */
static void
add_chunk(struct bytes *png, const char *kind, const uint8_t *data, size_t n)
{
	uint8_t number[4];
	size_t from;

	put32(number, (uint32_t)n);
	add(png, number, 4);
	from = png->n;
	add(png, kind, 4);
	if (n > 0)
		add(png, data, n);
	put32(number, png->failed ? 0 : crc32_of(png->data + from, png->n - from));
	add(png, number, 4);
}

/* Rows: a filter byte (none), then four cells a byte. */
static void
add_rows(struct bytes *raw, const uint8_t *cells, size_t ncells, size_t width, size_t height)
{
	for (size_t y = 0; y < height; y++) {
		uint8_t none = 0;

		add(raw, &none, 1);
		for (size_t x = 0; x < width; x += 4) {
			uint8_t four = 0;

			for (size_t k = 0; k < 4; k++) {
				size_t i = y * width + x + k;
				uint8_t cell = x + k < width && i < ncells ? cells[i] & 3 : 0;

				four = (uint8_t)(four << 2 | cell);
			}
			add(raw, &four, 1);
		}
	}
}

static void
add_stored(struct bytes *zlib, const struct bytes *raw)
{
	static const uint8_t head[2] = { 0x78, 0x01 };
	uint8_t sum[4];

	add(zlib, head, 2);
	for (size_t at = 0; at < raw->n && !raw->failed;) {
		size_t n = raw->n - at < STORED_MOST ? raw->n - at : STORED_MOST;
		uint8_t block[5] = { at + n == raw->n, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)~n,
			(uint8_t)(~n >> 8) };

		add(zlib, block, 5);
		add(zlib, raw->data + at, n);
		at += n;
	}
	put32(sum, adler32_of(raw->data, raw->n));
	add(zlib, sum, 4);
}

static void
add_base64(const struct bytes *b, struct text *t)
{
	static const char letters[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char line[77];
	size_t k = 0;

	for (size_t i = 0; i < b->n; i += 3) {
		uint32_t n = (uint32_t)b->data[i] << 16 |
		    (i + 1 < b->n ? (uint32_t)b->data[i + 1] << 8 : 0) |
		    (i + 2 < b->n ? b->data[i + 2] : 0);

		line[k++] = letters[n >> 18];
		line[k++] = letters[n >> 12 & 63];
		line[k++] = i + 1 < b->n ? letters[n >> 6 & 63] : '=';
		line[k++] = i + 2 < b->n ? letters[n & 63] : '=';
		if (k == 76 || i + 3 >= b->n) {
			line[k] = '\0';
			text_add(t, "%s", line);
			k = 0;
		}
	}
}

void
map_png(const uint8_t *cells, size_t ncells, size_t width, const uint8_t *colours, struct text *t)
{
	static const uint8_t signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
	struct bytes png = { 0 }, raw = { 0 }, zlib = { 0 };
	size_t height = (ncells + width - 1) / width;
	uint8_t header[13] = { [8] = 2, [9] = 3 }; /* two bits, a palette */

	put32(header, (uint32_t)width);
	put32(header + 4, (uint32_t)height);
	add_rows(&raw, cells, ncells, width, height);
	add_stored(&zlib, &raw);
	add(&png, signature, sizeof(signature));
	add_chunk(&png, "IHDR", header, sizeof(header));
	add_chunk(&png, "PLTE", colours, 3 * (size_t)MAP_STATES);
	add_chunk(&png, "IDAT", zlib.data, zlib.n);
	add_chunk(&png, "IEND", NULL, 0);
	if (raw.failed || zlib.failed || png.failed)
		t->error = ENOMEM;
	else
		add_base64(&png, t);
	free(raw.data);
	free(zlib.data);
	free(png.data);
}
