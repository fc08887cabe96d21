"""What the GPU agent decides: samples in, decisions out (docs/missions.md). Pure: time and every fact is a parameter."""
