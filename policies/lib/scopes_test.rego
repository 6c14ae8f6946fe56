package lib.scopes_test

import data.lib.scopes

test_all_required_scopes_must_be_granted if {
	scopes.cover(["builds:read", "builds:write"], ["builds:write"])
	scopes.cover(["builds:read", "builds:write"], ["builds:write", "builds:read"])
	not scopes.cover(["builds:read"], ["builds:write"])
	not scopes.cover(["builds:read"], ["builds:read", "builds:write"])
	not scopes.cover([], ["builds:read"])
}

test_scopes_are_compared_whole if {
	every scope in [
		"builds",
		"builds:",
		"builds:writeX",
		"Builds:write",
		"*",
		"builds:*",
		"builds:write builds:read",
		"",
	] {
		not scopes.cover([scope], ["builds:write"])
	}
}

test_nothing_required_is_covered_by_any_list if {
	scopes.cover([], [])
	scopes.cover(["builds:read"], [])
}

test_what_is_not_a_list_covers_nothing if {
	every wrong in [null, true, 1, "builds:read", {"builds:read": true}, {"scope": "builds:read"}] {
		not scopes.cover(wrong, ["builds:read"])
		not scopes.cover(["builds:read"], wrong)
		not scopes.cover(wrong, [])
	}
}

test_a_required_scope_that_is_no_string_is_never_covered if {
	not scopes.cover([null], [null])
	not scopes.cover([1], [1])
}
