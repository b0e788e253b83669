"""The language of conditions and mappings: Google's CEL, fenced in. `pipelines.expressions` is the way in."""
