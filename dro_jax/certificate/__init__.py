"""The certificate: every objective trained in exact expectation against the optimum.

On a finite response space the optimum of ``E[r] − τ KL(π‖π_ref)`` is known in closed
form, and a batch that holds every response, weighted by how often it would be logged,
leaves no sampling error. What remains is what an objective's minimum is.
"""
