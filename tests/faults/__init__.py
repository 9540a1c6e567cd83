"""What is said, and what is done, when an answer of WAHA is lost: tools x faults x what a look-up then says."""
