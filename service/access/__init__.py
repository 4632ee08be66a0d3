"""Who may ask, how often and how many at once: what stands between the network and the front ends.

`keys` are the keys and their file, `rates` how often one client may ask, `hosts` which names the service answers to,
`policy` what the settings make of these; `guard`, `bodies`, `turns` and `headers` are the middleware that holds it.
Knows nothing of routes, papers, or the forms in which errors leave: it is handed a function that makes replies of them.
"""

from service.access.hosts import is_loopback
from service.access.keys import Key, KeyFile, Scope
from service.access.policy import Policy, policy_of

__all__ = ["Key", "KeyFile", "Policy", "Scope", "is_loopback", "policy_of"]
