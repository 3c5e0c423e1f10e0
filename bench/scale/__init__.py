"""The cost model: constants that rows measure, a model made of them, and whole systems that judge it."""
