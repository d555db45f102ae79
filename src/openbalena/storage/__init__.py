"""Where volumes live in a swarm: remembering it, refusing to start on an empty one, showing sizes, moving one."""
