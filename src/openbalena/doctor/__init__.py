"""doctor: looks for what will go wrong. Each check is a module that decides from facts; nothing here reads or acts."""
