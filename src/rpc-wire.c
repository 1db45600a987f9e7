/* SPDX-License-Identifier: MIT
 *
 * The frames of calls. Knows nothing of sockets, processes or Perl, so that it can be tested and
 * fuzzed alone.
 */
#include "rpc-wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

void afork__rpc_put_number(uint8_t out[4], uint32_t number)
{
    number = htonl(number);
    memcpy(out, &number, sizeof number);
}

uint32_t afork__rpc_get_number(const uint8_t in[4])
{
    uint32_t number;

    memcpy(&number, in, sizeof number);
    return ntohl(number);
}

void afork__rpc_put_header(uint8_t out[AFORK__RPC_HEADER_SIZE],
                           const struct afork__rpc_header *header)
{
    out[0] = (uint8_t)header->kind;
    out[1] = (uint8_t)header->n_fds;
    out[2] = 0;
    out[3] = (uint8_t)header->flags;
    afork__rpc_put_number(out + 4, header->id);
    afork__rpc_put_number(out + 8, header->len);
}

int afork__rpc_get_header(const uint8_t in[AFORK__RPC_HEADER_SIZE], struct afork__rpc_header *ret)
{
    unsigned flags = 0; /* that may be set */

    if (in[0] == AFORK__RPC_CALL)
        flags = AFORK__RPC_PROMPT;
    else if (in[0] == AFORK__RPC_RESULT || in[0] == AFORK__RPC_ERROR)
        flags = AFORK__RPC_HOLDING;
    if (in[0] < AFORK__RPC_CALL || in[0] > AFORK__RPC_RETIRE || in[2] || in[3] & ~flags)
        return -EPROTO;
    *ret = (struct afork__rpc_header){
        .kind = (enum afork__rpc_kind)in[0],
        .n_fds = in[1],
        .flags = in[3],
        .id = afork__rpc_get_number(in + 4),
        .len = afork__rpc_get_number(in + 8),
    };
    return 0;
}
