"""The family `pytorch`: small networks on tables and on windows of time."""
