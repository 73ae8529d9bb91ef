def units(): return []
def report(place): pass
def decisive(unit): return True
