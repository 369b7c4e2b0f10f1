"""Many processes for one stage: on this machine, or on a cluster; what each does is the ordinary stage."""
