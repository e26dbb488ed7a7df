"""What the doctor reads: installation, models' headers, workflows, the machine."""
