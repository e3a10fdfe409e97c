// SPDX-License-Identifier: Apache-2.0
// clock SECONDS: the wall clock is set forward, or back, until the input ends. It is
// everybody's clock, so that it only does so where SCENARIO_CLOCK says that nobody minds.
#include "helper.h"
#include <sys/time.h>

static void turn(long seconds)
{
	struct timeval now;

	if (gettimeofday(&now, NULL))
		die("read clock");
	now.tv_sec += seconds;
	if (settimeofday(&now, NULL))
		die("set clock");
}

int main(int argc, char **argv)
{
	if (argc != 2)
		usage("clock SECONDS");
	if (!getenv("SCENARIO_CLOCK"))
		skip("the clock of this system is not the scenario's to set (SCENARIO_CLOCK=1 allows it)");
	long seconds = atol(argv[1]);
	turn(seconds);
	ready();
	hold();
	turn(-seconds);
	return 0;
}
