"""Programs and networks that speak; each module has `say(script, setting, speed)`."""
