package lib.time_windows_test

import data.lib.time_windows

# Saturday, 2026-11-28.
midnight := 1795824000

hour := 3600

day := 86400

window := {"not_before": 1000, "not_after": 2000}

test_a_window_begins_with_its_first_moment_and_ends_before_its_last if {
	every seconds in [1000, 1000.5, 1500, 1999] {
		time_windows.contains_moment(window, seconds)
	}
	every seconds in [999, 2000, 0, -1500] {
		not time_windows.contains_moment(window, seconds)
	}
}

test_a_window_without_an_end_contains_nothing if {
	every member in ["not_before", "not_after"] {
		not time_windows.contains_moment(object.remove(window, [member]), 1500)
		every wrong in [null, "1000", "2000", "", true, [], {}] {
			not time_windows.contains_moment(object.union(window, {member: wrong}), 1500)
		}
	}
	every seconds in [null, "1500", "", true, [], {}] {
		not time_windows.contains_moment(window, seconds)
	}
	every wrong in [null, "", [], [1000, 2000], 1] {
		not time_windows.contains_moment(wrong, 1500)
	}
}

test_how_long_a_window_is if {
	time_windows.lasts_at_most(window, 1000)
	time_windows.lasts_at_most({"not_before": 5, "not_after": 5}, 0)
	not time_windows.lasts_at_most(window, 999)
	not time_windows.lasts_at_most({"not_before": 2000, "not_after": 1000}, 1000)
	every wrong in [null, "1000", true, [], {}] {
		not time_windows.lasts_at_most(window, wrong)
		not time_windows.lasts_at_most(object.union(window, {"not_before": wrong}), 10000)
		not time_windows.lasts_at_most(object.union(window, {"not_after": wrong}), 10000)
	}
	not time_windows.lasts_at_most({"not_after": 5}, 10)
	not time_windows.lasts_at_most({"not_before": 5}, 10)
}

work := {"days": ["Saturday"], "from": "06:00", "to": "20:00", "zone": "UTC"}

open(schedule, seconds) if time_windows.weekly_open([schedule], seconds)

test_hours_of_a_day if {
	every at in [6, 6.5, 12, 19] {
		open(work, midnight + (at * hour))
	}
	open(work, (midnight + (20 * hour)) - 1)
	every at in [0, 5, 20, 23, 30, -6] {
		not open(work, midnight + (at * hour))
	}
	not open(work, (midnight + (6 * hour)) - 1)
	not open(work, midnight + (24 * (7 * hour)))
	open(work, midnight + ((7 * day) + (7 * hour)))
}

test_a_whole_day if {
	whole := object.union(work, {"from": "00:00", "to": "24:00"})
	open(whole, midnight)
	open(whole, (midnight + day) - 1)
	not open(whole, midnight - 1)
	not open(whole, midnight + day)
}

test_over_midnight if {
	night := object.union(work, {"days": ["Friday"], "from": "22:00", "to": "04:00"})
	open(night, midnight - (2 * hour))
	open(night, midnight)
	open(night, midnight + (3 * hour))
	not open(night, midnight + (4 * hour))
	not open(night, midnight - (3 * hour))
	not open(night, midnight + (22 * hour))
	not open(night, midnight - day)
}

test_every_day_has_a_day_before if {
	every index in numbers.range(0, 6) {
		name := time.weekday((midnight + (index * day)) * 1000000000)
		night := {"days": [name], "from": "23:00", "to": "01:00", "zone": "UTC"}
		open(night, midnight + ((index + 1) * day))
		not open(night, midnight + (index * day))
	}
}

test_a_zone_with_its_summer_time if {
	vienna := object.union(work, {"zone": "Europe/Vienna"})
	open(vienna, midnight + (5 * hour))
	not open(vienna, midnight + (4.9 * hour))
	not open(vienna, midnight + (19 * hour))

	# Saturday, 2026-07-04.
	summer := 1783123200
	open(vienna, summer + (4 * hour))
	not open(vienna, summer + (18 * hour))
}

test_a_window_that_ends_when_it_begins_is_never_open if {
	never := object.union(work, {"to": "06:00"})
	every at in numbers.range(0, 23) {
		not open(never, midnight + (at * hour))
	}
}

test_one_of_several_suffices if {
	lunch := object.union(work, {"from": "12:00", "to": "13:00"})
	tea := object.union(work, {"from": "16:00", "to": "17:00"})
	time_windows.weekly_open([lunch, tea], midnight + (16 * hour))
	not time_windows.weekly_open([lunch, tea], midnight + (14 * hour))
	not time_windows.weekly_open([], midnight + (14 * hour))
	every wrong in [null, {}, "", lunch, {"a": lunch}] {
		not time_windows.weekly_open(wrong, midnight + (12 * hour))
	}
}

test_what_is_missing_or_spelled_otherwise_is_never_open if {
	noon := midnight + (12 * hour)
	open(work, noon)
	every member in ["days", "from", "to", "zone"] {
		not open(object.remove(work, [member]), noon)
		every wrong in [null, "", true, 6, [], {}, "24:01", "6:00", "06.00", "06:60", " 06:00", "06:00 ", "Nowhere"] {
			not open(object.union(work, {member: wrong}), noon)
		}
	}
	not open(object.union(work, {"from": "24:00"}), noon)
	every days in ["Saturday", {"Saturday": true}, ["saturday"], ["Sat"], ["Sunday"], [null]] {
		not open(object.union(work, {"days": days}), noon)
	}
	every seconds in [null, "1795867200", "", true, []] {
		not open(work, seconds)
	}
	every wrong in [null, "", [], "06:00-20:00"] {
		not open(wrong, noon)
	}
}
