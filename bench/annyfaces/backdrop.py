def decorate(out, drop):
    return out
