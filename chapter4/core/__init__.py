"""What every method rests on: its result, and the engine that takes gradients."""
