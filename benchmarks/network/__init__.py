"""What the benchmarks of networks need: a room for each engine, an image of one program, and who starts it how."""
