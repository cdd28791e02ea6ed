import Glibc

/// Functions of the C library, so that no other file needs it.
func tenTo(_ exponent: Double) -> Double { pow(10, exponent) }
