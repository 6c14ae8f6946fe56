# METADATA
# title: Time windows
# description: |
#   Whether a moment lies in a window: one between two instants, or one that comes again every week. Moments are seconds
#   since the Unix epoch; take input.request.time, which is the gateway's clock and nothing of the caller's.
package lib.time_windows

import data.lib.numbers

# METADATA
# title: Whether a moment lies between two instants
# description: |
#   The window is {not_before, not_after}, in seconds since the Unix epoch; not_after is the first moment outside.
#   Without either of them it contains nothing.
# scope: document
contains_moment(window, seconds) if {
	numbers.at_most(window.not_before, seconds)
	is_number(window.not_after)
	seconds < window.not_after
}

# METADATA
# title: Whether a window between two instants is no longer than a number of seconds
# description: A window that ends before it begins is none at all.
# scope: document
lasts_at_most(window, seconds) if {
	is_number(window.not_before)
	is_number(window.not_after)
	numbers.between(window.not_after - window.not_before, 0, seconds)
}

# METADATA
# title: Whether one of some weekly windows is open at a moment
# description: |
#   Each is {days, from, to, zone}: days by name (Monday), times as 06:00, to is the first minute outside and may be
#   24:00, zone by name (UTC, Europe/Vienna). A window that ends before it begins goes on into the next day; one that
#   ends when it begins is never open. What is missing or spelled otherwise is never open.
# scope: document
weekly_open(windows, seconds) if {
	is_array(windows)
	some window in windows
	weekly_contains(window, seconds)
}

# Within one day.
weekly_contains(window, seconds) if {
	from := minute_of_day(window.from)
	to := minute_of_day(window.to)
	now := local(window.zone, seconds)
	from < to
	numbers.between(now.minute, from, to - 1)
	names_day(window.days, now.day)
}

# Over midnight, the evening of it.
weekly_contains(window, seconds) if {
	from := minute_of_day(window.from)
	from > minute_of_day(window.to)
	now := local(window.zone, seconds)
	numbers.at_most(from, now.minute)
	names_day(window.days, now.day)
}

# Over midnight, the morning after.
weekly_contains(window, seconds) if {
	to := minute_of_day(window.to)
	minute_of_day(window.from) > to
	now := local(window.zone, seconds)
	numbers.at_most(now.minute, to - 1)
	names_day(window.days, day_before[now.day])
}

names_day(days, day) if {
	is_array(days)
	day in days
}

local(zone, seconds) := {"day": time.weekday([instant, zone]), "minute": (hour * 60) + minute} if {
	is_string(zone)
	zone != ""
	is_number(seconds)
	instant := floor(seconds) * 1000000000
	[hour, minute, _] := time.clock([instant, zone])
}

minute_of_day(text) := (((digit(text, 0) * 10) + digit(text, 1)) * 60) + ((digit(text, 3) * 10) + digit(text, 4)) if {
	is_string(text)
	regex.match(`^(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)$`, text)
}

digit(text, index) := to_number(substring(text, index, 1))

day_before := {
	"Monday": "Sunday",
	"Tuesday": "Monday",
	"Wednesday": "Tuesday",
	"Thursday": "Wednesday",
	"Friday": "Thursday",
	"Saturday": "Friday",
	"Sunday": "Saturday",
}
