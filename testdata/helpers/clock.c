// SPDX-License-Identifier: Apache-2.0
// clock SECONDS: sets the wall clock forward, or back. It is everybody's clock, so
// that it only does so where SCENARIO_CLOCK says that nobody minds.
#include "helper.h"
#include <sys/time.h>

int main(int argc, char **argv)
{
	struct timeval now;

	if (argc != 2)
		return 2;
	if (!getenv("SCENARIO_CLOCK"))
		skip("the clock of this system is not the scenario's to set (SCENARIO_CLOCK=1 allows it)");
	if (gettimeofday(&now, NULL))
		return 1;
	now.tv_sec += atol(argv[1]);
	return settimeofday(&now, NULL) ? 1 : 0;
}
