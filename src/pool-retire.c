/* SPDX-License-Identifier: MIT
 *
 * Workers that retire themselves where frames are those of the original, which have nothing for it:
 * they send an event that only the pool's own workers can. It is a random word of the pool, as the
 * octets of one string where the serialiser is the default. What another serialiser would make of
 * it is not known here: so the back ends are given that one with another around it, which leaves
 * the word as it is.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "pool.h"
#include "util.h"

/* Defines retire(), which is given the word as an object where the serialiser is not the
 * default. */
static const char define_retire[] =
    "no strict; no warnings;"
    " my $word = $_[1] ? bless \\(my $copy = $_[0]), 'AFork::Pool::Retire' : $_[0];"
    " *AnyEvent::Fork::Pool::retire = sub () { AnyEvent::Fork::RPC::event($word); return };"
    " *AFork::Pool::retire = \\&AnyEvent::Fork::Pool::retire"; /* as back ends of ours do it */

/* Around the code of a serialiser, in hexadecimal digits: evaluated as it would be alone. */
static const char before[] = "my ($freeze, $thaw) = eval pack 'H*', '";
static const char behind[] = "'; die $@ if $@;"
                             " ($freeze && sub { @_ == 1 && ref $_[0] eq 'AFork::Pool::Retire' ? "
                             "${$_[0]} : &$freeze }, $thaw)";

static void put_hex(char *out, const void *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sprintf(out + 2 * i, "%02x", ((const uint8_t *)data)[i]);
}

static int make_word(struct afork_pool *pool)
{
    uint8_t random[sizeof pool->retire / 2];

    if (*pool->retire)
        return 0;
    if (getrandom(random, sizeof random, GRND_NONBLOCK) < 0) /* never less than all of so few */
        return -errno;
    put_hex(pool->retire, random, sizeof random);
    return 0;
}

/* Whether the serialiser has another around it. */
static bool is_wrapped(const struct afork_pool *pool)
{
    const char *serialiser = pool->options.rpc.serialiser;

    return serialiser && *serialiser && strcmp(serialiser, AFORK_SERIALISER_OCTETS) != 0;
}

static char *wrap(const char *serialiser)
{
    size_t len = strlen(serialiser);
    char *code = malloc(sizeof before + 2 * len + sizeof behind);

    if (!code)
        return NULL;
    strcpy(code, before);
    put_hex(code + strlen(before), serialiser, len);
    strcpy(code + strlen(before) + 2 * len, behind);
    return code;
}

int afork__pool_prepare_template(struct afork_pool *pool)
{
    struct afork_rpc_options rpc = pool->options.rpc;

    if (rpc.frames != AFORK_RPC_FRAMES_ORIGINAL)
        return afork__rpc_prepare(pool->template, pool->function, &rpc);
    int result = make_word(pool);
    if (!result)
        result = afork_process_eval(pool->template, define_retire, pool->retire,
                                    is_wrapped(pool) ? "1" : "", NULL);
    if (result < 0)
        return result;
    char *wrapped = is_wrapped(pool) ? wrap(rpc.serialiser) : NULL;
    if (is_wrapped(pool) && !wrapped)
        return -ENOMEM;
    rpc.serialiser = wrapped;
    result = afork__rpc_prepare(pool->template, pool->function, &rpc);
    free(wrapped);
    return result;
}

bool afork__pool_is_retire(const struct afork_pool *pool, const struct afork_event *event)
{
    size_t len = strlen(pool->retire); /* 0: the frames are ours */
    const char *data = event->data;

    if (!len)
        return false;
    if (is_wrapped(pool))
        return event->len == len && !memcmp(data, pool->retire, len);
    return event->len == len + 1 && data[0] == (char)len && !memcmp(data + 1, pool->retire, len);
}
