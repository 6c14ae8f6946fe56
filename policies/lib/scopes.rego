# METADATA
# title: Scopes
# description: What the scope of a token covers (RFC 6749 §3.3). Scopes are compared whole; none implies another.
package lib.scopes

# METADATA
# title: Whether all required scopes were granted
# description: Both must be arrays; a missing one covers nothing. An empty list of required scopes is covered.
# scope: document
cover(granted, required) if {
	is_array(granted)
	is_array(required)
	every scope in required {
		is_string(scope)
		scope in granted
	}
}
