/* Find what the envelope needs of a page of hits, and copy it into the buffers of Arrow columns.
 *
 * An experiment (benchmarks/README.md): strings and brackets are followed, but what is inside of a
 * document is not checked to be JSON.  Whatever is not as expected ends the scan with -1, and the caller decodes the page.
 */

#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

typedef struct {
    const char *text;
    int64_t size;
} Span;

typedef struct {
    char *bodies, *names, *indices;                 /* data of the columns BODY, RECORD_ID and SOURCE_NAME */
    int32_t *body_ends, *name_ends, *index_ends;    /* their offsets, of which the first is 0 */
    int64_t *millis;                                /* EVENT_TIME */
    int64_t capacity;                               /* hits that fit */
    int64_t first, last;                            /* where the list of hits begins and ends in the page */
    int64_t sort_first, sort_last;                  /* where the sort values of the last hit are */
} Columns;

/* Return the closing quote of the string that begins after `p`, or NULL. */
static const char *string_end(const char *p, const char *end)
{
    while (p < end) {
#if defined(__SSE2__)
        while (p + 16 <= end) {
            __m128i block = _mm_loadu_si128((const __m128i *)p);
            int found = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('"')),
                                                       _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'))));
            if (found) {
                p += __builtin_ctz(found);
                break;
            }
            p += 16;
        }
        if (p >= end)
            return NULL;
#endif
        if (*p == '"')
            return p;
        p += *p == '\\' ? 2 : 1;
    }
    return NULL;
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    return p;
}

/* Return what follows the value that begins at `p`, or NULL. */
static const char *skip_value(const char *p, const char *end)
{
    int depth = 0;
    while (p < end) {
        switch (*p) {
        case '"':
            p = string_end(p + 1, end);
            if (p == NULL)
                return NULL;
            if (depth == 0)
                return p + 1;
            break;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (depth == 0)
                return p;
            if (--depth == 0)
                return p + 1;
            break;
        case ',':
            if (depth == 0)
                return p;
        }
        p++;
    }
    return NULL;
}

/* Read `"key": value` or what ends the object; return what follows the value, NULL for anything else. */
static const char *member(const char *p, const char *end, Span *key, Span *value)
{
    p = skip_space(p, end);
    if (p < end && *p == ',')
        p = skip_space(p + 1, end);
    if (p < end && *p == '}') {
        key->text = NULL;
        return p + 1;
    }
    if (p >= end || *p != '"')
        return NULL;
    const char *closing = string_end(p + 1, end);
    if (closing == NULL)
        return NULL;
    key->text = p + 1;
    key->size = closing - p - 1;
    p = skip_space(closing + 1, end);
    if (p >= end || *p != ':')
        return NULL;
    p = skip_space(p + 1, end);
    value->text = p;
    p = skip_value(p, end);
    value->size = p == NULL ? 0 : p - value->text;
    return p;
}

static int is(const Span *key, const char *name)
{
    return key->size == (int64_t)strlen(name) && memcmp(key->text, name, key->size) == 0;
}

/* Return what is inside of quotes; nothing if it is escaped. */
static int plain(const Span *value, Span *inside)
{
    inside->text = value->text + 1;
    inside->size = value->size - 2;
    return value->size >= 2 && *value->text == '"' && memchr(inside->text, '\\', inside->size) == NULL;
}

static int read_millis(const Span *fields, const char *before, int64_t before_size, int64_t *millis)
{
    const char *p = fields->text + before_size, *end = fields->text + fields->size - 3;
    if (fields->size < before_size + 4 || fields->size > before_size + 22)
        return 0;
    if (memcmp(fields->text, before, before_size) || memcmp(end, "\"]}", 3))
        return 0;
    int negative = *p == '-';
    int64_t value = 0;
    for (p += negative; p < end; p++) {
        if (*p < '0' || *p > '9')
            return 0;
        value = 10 * value + (*p - '0');
    }
    *millis = negative ? -value : value;
    return 1;
}

static void append(char *data, int32_t *ends, int64_t row, const Span *value)
{
    memcpy(data + ends[row], value->text, value->size);
    ends[row + 1] = ends[row] + (int32_t)value->size;
}

static const char *read_hit(const char *p, const char *end, Columns *to, int64_t row, const char *page,
                            const char *before, int64_t before_size)
{
    Span key, value, index = {0}, id = {0}, fields = {0}, source = {0}, sort = {0};
    if (p >= end || *p++ != '{')
        return NULL;
    while ((p = member(p, end, &key, &value)) != NULL && key.text != NULL) {
        if (is(&key, "_source"))
            source = value;
        else if (is(&key, "_id") ? !plain(&value, &id) : is(&key, "_index") && !plain(&value, &index))
            return NULL;
        else if (is(&key, "fields"))
            fields = value;
        else if (is(&key, "sort"))
            sort = value;
        else if (is(&key, "_routing"))
            return NULL;
    }
    if (p == NULL || !index.text || !id.text || !sort.text || source.size < 2 || *source.text != '{')
        return NULL;
    if (!fields.text || !read_millis(&fields, before, before_size, &to->millis[row]))
        return NULL;
    append(to->bodies, to->body_ends, row, &source);
    append(to->indices, to->index_ends, row, &index);
    append(to->names, to->name_ends, row, &index);
    to->names[to->name_ends[row + 1]++] = '/';
    memcpy(to->names + to->name_ends[row + 1], id.text, id.size);
    to->name_ends[row + 1] += (int32_t)id.size;
    to->sort_first = sort.text - page;
    to->sort_last = to->sort_first + sort.size;
    return p;
}

/* Return the number of hits, or -1.  `before` is what `fields` begins with, up to the first digit. */
int64_t scan(const char *page, int64_t size, const char *before, int64_t before_size, Columns *to)
{
    const char *p = page, *end = page + size;
    Span key, value;
    if (size > INT32_MAX || size < 2 || *p++ != '{')
        return -1;
    to->body_ends[0] = to->name_ends[0] = to->index_ends[0] = 0;
    /* the head: down to the list of hits */
    for (int level = 0; level < 2; level++) {
        for (;;) {
            const char *from = p;
            p = skip_space(p, end);
            if (p < end && *p == ',')
                p = skip_space(p + 1, end);
            if (end - p > 7 && memcmp(p, "\"hits\":", 7) == 0 && p[7] == (level ? '[' : '{')) {
                p += 8;
                break;
            }
            p = member(from, end, &key, &value);
            if (p == NULL || key.text == NULL)
                return -1;
        }
    }
    to->first = p - page;
    int64_t row = 0;
    while (p < end && *p != ']') {
        if (row == to->capacity)
            return -1;
        p = read_hit(p, end, to, row++, page, before, before_size);
        if (p == NULL)
            return -1;
        if (p < end && *p == ',')
            p++;
    }
    if (p >= end)
        return -1;
    to->last = p - page;
    return row;
}
