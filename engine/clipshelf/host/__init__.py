"""The engine inside a C or C++ program: what the library calls, and how it is built."""
