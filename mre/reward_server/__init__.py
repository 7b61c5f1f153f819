"""A judge behind HTTP, in the two forms that training frameworks speak: Flow-Factory's and UniRL's."""
