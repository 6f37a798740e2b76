"""Remediation: plan, admit, execute, verify, give back. Public to others: `remediation.service`."""
