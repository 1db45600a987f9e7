/* SPDX-License-Identifier: MIT
 *
 * How many processors this process may use.
 */
#ifndef CPUS_H
#define CPUS_H

/* The processors allowed by the affinity mask, and by the quota of the control groups (versions 1
 * and 2) that hold this process; at least 1. */
unsigned cpus_allowed(void);

/* The quota alone, rounded up, as found in the proc and sys folders below `root`; 0: none. */
unsigned cpus_quota(const char *root);

#endif
