"""What a run costs on a slice, by the compiler: memory, arithmetic, traffic."""
