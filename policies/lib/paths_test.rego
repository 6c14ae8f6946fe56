package lib.paths_test

import data.lib.paths

test_a_path_contains_itself_and_what_lies_below if {
	every inner in ["projects/p1", "projects/p1/", "projects/p1/builds", "projects/p1/builds/b1"] {
		paths.contains_path("projects/p1", inner)
		paths.contains_path("projects/p1/", inner)
	}
}

test_a_path_contains_nothing_that_merely_starts_with_it if {
	every inner in [
		"projects/p10",
		"projects/p1x/builds",
		"projects/p1-2",
		"projects/p1%2Fx",
		"projects/p1.",
		"projects/p",
	] {
		not paths.contains_path("projects/p1", inner)
		not paths.contains_path("projects/p1/", inner)
	}
}

test_an_inner_path_contains_not_its_outer_one if {
	not paths.contains_path("projects/p1/builds", "projects/p1")
}

test_an_empty_path_contains_nothing if {
	every inner in ["", "projects", "/", "/projects"] {
		not paths.contains_path("", inner)
	}
}

test_a_root_contains_absolute_paths_only if {
	paths.contains_path("/", "/subscriptions/s1")
	not paths.contains_path("/", "projects/p1")
}

test_nothing_is_decoded_folded_or_resolved if {
	every outer in [
		"projects/P1",
		"projects/%701",
		"projects//p1",
		"projects/./p1",
		"projects/p1//",
		"projects/p2/../p1",
		"*",
		"projects/*",
	] {
		not paths.contains_path(outer, "projects/p1/builds")
	}
}

test_what_is_not_a_string_is_no_path if {
	every wrong in [null, true, 1, ["projects/p1"], {"projects/p1": true}] {
		not paths.contains_path(wrong, "projects/p1")
		not paths.contains_path("projects/p1", wrong)
		not paths.same(wrong, "projects/p1")
		not paths.same(wrong, wrong)
	}
}

origin := "https://cloud.example.com"

url := "https://cloud.example.com/v1/projects/p1/builds"

test_a_location_contains_the_urls_below_it if {
	every location in [
		"https://cloud.example.com",
		"https://cloud.example.com/",
		"https://cloud.example.com/v1",
		"https://cloud.example.com/v1/",
		"https://cloud.example.com/v1/projects/p1",
		"https://cloud.example.com/v1/projects/p1/builds",
	] {
		paths.contains_url(origin, location, url)
	}
}

test_a_location_elsewhere_contains_nothing if {
	every location in [
		"",
		"/",
		"h",
		"https:",
		"https:/",
		"https://",
		"https://cloud",
		"https://cloud.example",
		"https://cloud.example.com.evil.example/",
		"https://cloud.example.com:8443/",
		"https://user@cloud.example.com/",
		"http://cloud.example.com/v1/",
		"HTTPS://cloud.example.com/v1/",
		"https://other.example.com/v1/",
		"https://cloud.example.com/v",
		"https://cloud.example.com/v10/",
		"https://cloud.example.com/v1/projects/p",
		"https://cloud.example.com/v1/projects/p10",
		"https://cloud.example.com/v1/projects/p1/builds/b1",
		"https://cloud.example.com/v1/?",
		"https://cloud.example.com/v1/../",
		"https://cloud.example.com//v1",
		"*",
	] {
		not paths.contains_url(origin, location, url)
	}
}

test_two_paths_are_the_same_but_for_one_trailing_slash if {
	paths.same("https://cloud.example.com/v1", "https://cloud.example.com/v1/")
	paths.same("a/b/", "a/b")
	not paths.same("a/b", "a/b//")
	not paths.same("a/b", "a/bc")
}
