from children import leave_children
from traces import leave_traces

leave_traces()
leave_children()
print("four children are left")
