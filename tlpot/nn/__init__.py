"""Neural building blocks: tensors in, tensors out."""
