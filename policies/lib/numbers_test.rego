package lib.numbers_test

import data.lib.numbers

no_numbers := [null, "", "1", true, false, [], {}, [1], {"value": 1}]

test_at_most if {
	numbers.at_most(1, 1)
	numbers.at_most(-5, 1)
	numbers.at_most(0.5, 1)
	not numbers.at_most(2, 1)
	not numbers.at_most(1.000001, 1)
}

test_what_is_no_number_is_at_most_nothing_and_limits_nothing if {
	every wrong in no_numbers {
		not numbers.at_most(wrong, 1)
		not numbers.at_most(1, wrong)
		not numbers.at_most(wrong, wrong)
	}
}

test_between if {
	every value in [1, 2, 2.5, 3] {
		numbers.between(value, 1, 3)
	}
	every value in [0, 0.999, 3.001, 4, -2] {
		not numbers.between(value, 1, 3)
	}
	not numbers.between(2, 3, 1)
	every wrong in no_numbers {
		not numbers.between(wrong, 1, 3)
		not numbers.between(2, wrong, 3)
		not numbers.between(2, 1, wrong)
	}
}

test_count if {
	every value in [0, 1, 2, 2.0, 1000000, 9007199254740991] {
		numbers.count_of_something(value)
	}
	every value in [-1, 0.5, 2.5, 9007199254740992, 1e300] {
		not numbers.count_of_something(value)
	}
	every wrong in no_numbers {
		not numbers.count_of_something(wrong)
	}
}

test_sum_of_counts if {
	numbers.sum_at_most([1, 2, 3], 6)
	numbers.sum_at_most([], 0)
	not numbers.sum_at_most([1, 2, 3], 5)
	not numbers.sum_at_most([1, -1, 6], 6)
	not numbers.sum_at_most([0.5, 0.5], 1)
	not numbers.sum_at_most([1], -1)
	not numbers.sum_at_most([9007199254740991, 1, 1], 9007199254740992)
	not numbers.sum_at_most([9007199254740991, 1], 1e300)
	every wrong in no_numbers {
		not numbers.sum_at_most([1, wrong], 6)
		not numbers.sum_at_most([1], wrong)
	}
	every wrong in [null, "", "1", true, {}, {"value": 1}, 1] {
		not numbers.sum_at_most(wrong, 6)
	}
}
