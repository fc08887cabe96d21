"""What the GPU agent decides: samples in, decisions out (docs/missions.md). Pure: time and facts are parameters."""
