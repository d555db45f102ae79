"""The commands of the translator for any project; `compose2swarm` has them alone, `open-balena.sh stack` among others.

They need no engine, and nothing of openBalena's own settings.
"""
