# METADATA
# title: Numbers
# description: |
#   Comparisons that hold between numbers only. In Rego null is less than every number and every number less than a
#   text, so that a limit that is missing, null or spelled as a text would let something through.
package lib.numbers

# METADATA
# title: Whether a number is not above a limit
# description: Both must be numbers.
# scope: document
at_most(value, limit) if {
	is_number(value)
	is_number(limit)
	value <= limit
}

# METADATA
# title: Whether a number lies between two others, both included
# description: All three must be numbers.
# scope: document
between(value, low, high) if {
	at_most(low, value)
	at_most(value, high)
}

# METADATA
# title: Whether a number is a count, a whole number from 0 on
# description: 2.0 is one, 2.5, -1, null and "2" are none. Beyond 2^53 digits may be lost, so nothing there is one.
# scope: document
count_of_something(value) if {
	between(value, 0, 9007199254740991)
	value == floor(value)
}

# METADATA
# title: Whether all counts of a list together are not above a limit
# description: |
#   A list with anything but counts in it is above every limit, and so is one whose sum is beyond 2^53, where digits may
#   be lost.
# scope: document
sum_at_most(values, limit) if {
	is_array(values)
	every value in values {
		count_of_something(value)
	}
	total := sum(values)
	count_of_something(total)
	at_most(total, limit)
}
