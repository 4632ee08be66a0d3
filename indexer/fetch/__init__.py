"""Papers, from the services that have them, to files on disk with their provenance beside them.

`identifiers` says what names a paper; `client` asks hosts politely and warily, through `network`, `addresses` and
`pace`; `pmc`, `europepmc` and `tomesphere` are what each service offers; `content` and `licences` judge what was sent;
`files` keeps it; `plan` goes from one to the next, and `run.fetch` is where others come in. Knows nothing of indexes.

The files are the cache: a paper that is named again costs its record and one conditional request, one that a search
finds again within a day costs none. A run that was stopped goes on where it was when it is run again.
"""
