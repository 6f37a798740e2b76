"""The canary probe: requests of one token to each engine replica, and prompts with known answers.

`collector` runs it: `load` says whether a replica is idle or has a queue, `replica` what it is
asked next and `pace` when, `request` asks, `golden` compares, `references` keeps, `report` turns
answers into records.
"""
