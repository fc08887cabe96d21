"""One reconciler per kind: gather (I/O) and decide (pure); the planner applies."""
