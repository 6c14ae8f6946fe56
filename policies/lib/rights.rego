# METADATA
# title: Rights
# description: |
#   Whether the token of a call has the rights that the operation catalogue asks for: all of the scopes, and one whole
#   item of authorization_details of the type it names. These rules are about input; each condition of a policy takes
#   them as they are, and none of them stands for the others.
package lib.rights

import data.lib.authorization_details
import data.lib.scopes

# METADATA
# title: Whether the catalogue asks for any right at all
# description: An operation for which it asks for neither scopes nor authorization_details is protected by nothing.
# scope: document
asked_for if count(input.operation.scopes) > 0

asked_for if is_string(input.operation.authorization_details_type)

# METADATA
# title: Whether the scope of the token covers the operation
# description: An empty list of scopes is covered; see asked_for.
# scope: document
scopes_cover if scopes.cover(input.token.scopes, input.operation.scopes)

# METADATA
# title: Whether one whole item of authorization_details covers the call
# description: The catalogue says null where an operation needs none; a missing type is no null.
# scope: document
details_cover if is_null(input.operation.authorization_details_type)

details_cover if {
	is_array(input.token.authorization_details)
	some item in input.token.authorization_details
	authorization_details.covers(item, call)
}

call := {
	"type": input.operation.authorization_details_type,
	"action": input.operation.name,
	"identifier": input.operation.resource,
	"origin": input.request.origin,
	"url": concat("", [input.request.origin, input.request.path]),
	"resource": input.request.resource,
}
