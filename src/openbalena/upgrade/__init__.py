"""openBalena's releases, and what an upgrade from one to another means; decides, and changes nothing."""
