"""The use cases: options in, a result out, a Reporter for progress, warnings and questions."""
