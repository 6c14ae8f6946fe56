# METADATA
# title: Paths
# description: |
#   Comparison by whole segments. A prefix is never compared as a string: projects/p1 contains projects/p1/builds
#   and does not contain projects/p10.
package lib.paths

# METADATA
# title: Whether a path is the given one or lies below it
# description: |
#   One trailing slash of the outer path does not count. An empty outer path contains nothing. Nothing is decoded and
#   no dot segment is resolved: what is not spelled the same is not contained.
# scope: document
contains_path(outer, inner) if {
	outer != ""

	# lint:ignore text-prefix: both end with a slash, and so where a segment does
	startswith(concat("", [inner, "/"]), with_slash(outer))
}

# METADATA
# title: Whether a URL lies at or below another one
# description: |
#   The outer URL must be the given origin or lie below it, so that "https:" or "https://cloud" contain nothing.
# scope: document
contains_url(origin, outer, inner) if {
	# lint:ignore text-prefix: both end with a slash, and so where a segment does
	startswith(with_slash(outer), concat("", [origin, "/"]))
	contains_path(outer, inner)
}

# METADATA
# title: Whether two paths or URLs are the same
# description: One trailing slash of either does not count.
# scope: document
same(left, right) if with_slash(left) == with_slash(right)

with_slash(path) := concat("", [trim_suffix(path, "/"), "/"])
